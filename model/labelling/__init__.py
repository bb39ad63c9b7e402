"""From photos with tags to labels: the facade over the method, and runs over whole folders."""
