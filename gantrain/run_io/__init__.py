"""Reading and writing of run folders, TensorBoard files and progress."""
