"""`lineup serve`: the engine behind HTTP, on Starlette and uvicorn (extra [serve])."""
