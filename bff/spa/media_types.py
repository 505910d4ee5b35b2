"""What a file is, by the end of its name. Pure.

The table is ours, so that no machine's own list decides whether a script runs (`nosniff` refuses
one of another type). Text is UTF-8. What is not known is bytes.

Source: IANA media types; RFC 9239 (JavaScript), RFC 8081 (fonts), W3C Web App Manifest.
"""

from __future__ import annotations

_UNKNOWN = "application/octet-stream"
_UTF8 = "; charset=utf-8"
_TYPES = {
    "html": "text/html" + _UTF8,
    "htm": "text/html" + _UTF8,
    "xhtml": "application/xhtml+xml",
    "js": "text/javascript" + _UTF8,
    "mjs": "text/javascript" + _UTF8,
    "cjs": "text/javascript" + _UTF8,
    "css": "text/css" + _UTF8,
    "json": "application/json",
    "map": "application/json",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain" + _UTF8,
    "md": "text/markdown" + _UTF8,
    "csv": "text/csv" + _UTF8,
    "vtt": "text/vtt" + _UTF8,
    "ics": "text/calendar" + _UTF8,
    "xml": "application/xml",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "gz": "application/gzip",
    "svg": "image/svg+xml",
    "png": "image/png",
    "apng": "image/apng",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "bmp": "image/bmp",
    "ico": "image/x-icon",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "eot": "application/vnd.ms-fontobject",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "oga": "audio/ogg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "weba": "audio/webm",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mov": "video/quicktime",
    "gltf": "model/gltf+json",
    "glb": "model/gltf-binary",
}
_WITHOUT_EXTENSION = {"apple-app-site-association": "application/json"}
_DOCUMENTS = frozenset(
    {"text/html" + _UTF8, "application/xhtml+xml", "application/xml", "image/svg+xml"}
)


def media_type(name: str) -> str:
    """Return the `Content-Type` of a file with this name."""
    _, dot, extension = name.rpartition(".")
    if not dot:
        return _WITHOUT_EXTENSION.get(name, _UNKNOWN)
    return _TYPES.get(extension.lower(), _UNKNOWN)


def is_document(content_type: str) -> bool:
    """Whether a browser that opens such a file runs scripts in it, so that it needs a policy."""
    return content_type in _DOCUMENTS
