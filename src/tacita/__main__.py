"""`python -m tacita` is the command `tacita`."""

from tacita.cli.main import app

if __name__ == "__main__":
    app()
