"""Commands that write what the project generates: pages of the documentation, tables of the compiler."""
