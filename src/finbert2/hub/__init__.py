"""Publishing finished folders on the Hub."""
