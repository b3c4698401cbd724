"""What the process may use and uses: cores, memory, room for what requests hold."""
