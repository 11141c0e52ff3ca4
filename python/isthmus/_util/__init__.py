"""What any package needs: checks, arrays, random numbers, threads, memory, files."""
