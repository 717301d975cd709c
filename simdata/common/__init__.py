"""What every wing of both packages uses: errors, files, workers, memory, progress."""
