"""The bundled still life: shapes and colours in, path-traced views and a decimated proxy out."""
