"""LLVM IR as text: values, instructions with their meaning, control flow."""
