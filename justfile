# Aliases only; what they do is in xtask.

test:
    cargo xtask test

fast:
    cargo xtask test --fast

tidy:
    cargo xtask tidy

setup:
    cargo xtask setup

demo *flags:
    cargo xtask demo {{flags}}
