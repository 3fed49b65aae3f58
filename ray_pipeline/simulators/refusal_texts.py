"""What each provider says when it refuses, with the status it says it with."""

from ray_pipeline.simulators.bodies import Body

JSON = "application/json"


def rate(provider: str) -> Body:
    """Return the answer to a call that came too soon."""
    texts = {
        "alpha_vantage": Body(
            '{"Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 '
            'calls per minute and 25 calls per day."}',
            JSON,
        ),
        "finnhub": Body(
            '{"error":"API limit reached. Please try again later. Remaining Limit: 0"}', JSON, 429
        ),
        "coingecko": Body(
            '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}',
            JSON,
            429,
        ),
        "x": Body('{"title":"Too Many Requests","status":429}', JSON, 429),
        "fred": Body('{"error_code":429,"error_message":"Too Many Requests."}', JSON, 429),
    }
    return texts.get(provider, Body("Too Many Requests", "text/plain", 429))


def quota(provider: str) -> Body:
    """Return the answer to a call past the day's or month's quota."""
    texts = {
        "alpha_vantage": Body(
            '{"Information": "We have detected your API key as *** and our standard API rate limit '
            'is 25 requests per day."}',
            JSON,
        ),
        "newsapi": Body(
            '{"status":"error","code":"rateLimited","message":"Developer accounts are limited to '
            '100 requests over a 24 hour period."}',
            JSON,
            429,
        ),
        "fmp": Body('{"Error Message": "Limit Reach . Please upgrade your plan."}', JSON, 429),
        "coingecko": Body(
            '{"status":{"error_code":10006,"error_message":"Monthly call limit reached."}}',
            JSON,
            429,
        ),
        "x": Body(
            '{"title":"UsageCapExceeded","detail":"Usage cap exceeded: Monthly product cap",'
            '"period":"Monthly"}',
            JSON,
            429,
        ),
    }
    return texts.get(provider) or rate(provider)


def bad_key(provider: str) -> Body:
    """Return the answer to a key that is not accepted."""
    texts = {
        "alpha_vantage": Body(
            '{"Error Message": "the parameter apikey is invalid or missing."}', JSON
        ),
        "newsapi": Body(
            '{"status":"error","code":"apiKeyInvalid","message":"Your API key is invalid."}',
            JSON,
            401,
        ),
        "finnhub": Body('{"error":"Invalid API key"}', JSON, 401),
        "x": Body('{"title":"Unauthorized","status":401,"detail":"Unauthorized"}', JSON, 401),
        "fred": Body(
            '{"error_code":400,"error_message":"Bad Request.  The value for variable api_key is '
            'not registered."}',
            JSON,
            400,
        ),
        "fmp": Body('{"Error Message": "Invalid API KEY."}', JSON, 401),
        "coingecko": Body(
            '{"status":{"error_code":10002,"error_message":"API Key Missing"}}', JSON, 401
        ),
    }
    return texts.get(provider, Body('{"error":"unauthorized"}', JSON, 401))
