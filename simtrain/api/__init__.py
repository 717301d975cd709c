"""The functions of the public interface; `simtrain` itself offers them by name."""
