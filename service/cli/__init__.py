"""The command line. Commands that label, judge or train import the model when they run, never before."""
