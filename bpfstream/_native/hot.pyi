# Types of the compiled twin of the hot loops in `rings`, `records`, `btf` and `maps`.

