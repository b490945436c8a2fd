"""The command line; every command's module is loaded only when it runs."""
