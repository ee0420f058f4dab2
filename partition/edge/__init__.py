"""The board's side of split inference."""
