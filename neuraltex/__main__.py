"""`python -m neuraltex`, which is also what `torchrun -m neuraltex` starts."""

from neuraltex.cli import main

if __name__ == "__main__":
    main()
