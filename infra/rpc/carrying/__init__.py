"""Many unary calls on one long-lived stream between two processes, each as if it were made by itself.

A gRPC call by itself is two headers, two messages and a trailer, each of which the HTTP/2 library takes apart in
Python; it costs several times what most calls do. Here what is ready at one moment goes out as one message, both ways.
"""
