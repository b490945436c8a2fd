import re

import jsonschema

from lineup.paths import shipped_dir


def test_every_route_is_described(client):
    from starlette.routing import Route

    from lineup.serve.app import app_from_engine

    described = client.get("/openapi.json").record["paths"]
    app = app_from_engine(lambda: None)
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path not in ("/", "/docs", "/openapi.json")
        for method in route.methods - {"HEAD"}
    }

    assert {(path, method) for path, methods in described.items() for method in methods} == routes


def test_the_row_of_an_answer_is_the_one_described(client, red_image):
    schema = client.get("/openapi.json").record["components"]["schemas"]["Row"]

    jsonschema.validate(client.post("/v1/attribute", red_image.read_bytes()).record, schema)
    jsonschema.validate(client.post("/v1/attribute", b"text").record, schema)
    assert (shipped_dir() / "row.schema.json").exists()


def test_the_pages_load_nothing_from_elsewhere(client):
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.status == 200
        text = answer.body.decode()
        assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", text)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "<style" not in text
    assert "/v1/sources/{name}" in client.get("/docs").body.decode()
