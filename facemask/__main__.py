"""`python -m facemask`: the same as the console command `facemask`."""

from facemask.cli import app_main

if __name__ == "__main__":
    app_main()
