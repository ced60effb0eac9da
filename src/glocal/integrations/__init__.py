"""The aligned model inside other people's libraries; each file is named after the library that it needs."""
