"""Export of all streams to one file, and import: the file format, its reader and its writer."""
