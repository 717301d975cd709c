from simtrain.cli import main

main()
