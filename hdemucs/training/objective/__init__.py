"""What training minimises: losses and penalties."""
