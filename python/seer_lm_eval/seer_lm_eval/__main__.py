"""lm_eval's own command line, which knows the model `seer`."""

from lm_eval.__main__ import cli_evaluate

import seer_lm_eval  # noqa: F401  (registers the model)


def main():
    cli_evaluate()


if __name__ == "__main__":
    main()
