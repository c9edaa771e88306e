"""The page. Talks to the service only; one file a tab. All text that people or models wrote reaches the browser as
JSON and is put on the page with textContent, or is escaped in `errors.py`: nothing of it is ever read as HTML."""
