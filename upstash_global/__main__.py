"""`python -m upstash_global` is `upstash-global`."""

from upstash_global.cli.main import main

if __name__ == "__main__":
    main()
