"""What every wing of simtrain uses: processes, signals, numbers that must be finite."""
