"""Words that the tools themselves give a meaning, and so cannot send: urllib3's for a header that is to be left out, which
schemathesis finds among the constants of the modules it has loaded."""

import schemathesis
from urllib3.util import SKIP_HEADER


@schemathesis.hook
def filter_headers(context, headers) -> bool:
    return SKIP_HEADER not in (headers or {}).values()
