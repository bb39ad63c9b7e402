"""What the backends of annotation tools share: labels that are asked for again and again, each made once."""
