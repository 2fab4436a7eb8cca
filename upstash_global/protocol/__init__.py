"""The wires: commands come in and replies go out, as RESP (`resp`) and as REST (`rest`). Pure: bytes in, bytes out."""
