"""The options by which a command finds and trusts its cloud."""

from __future__ import annotations

import argparse
from pathlib import Path

from partition.security.tls import ClientSecurity


def add_link_options(parser: argparse._ActionsContainer) -> None:
    """Add `--cloud` and what a server beyond this machine needs."""
    parser.add_argument("--cloud", default=None, metavar="HOST:PORT", help="partition.server")
    parser.add_argument("--tls-ca", type=Path, default=None, help="authority of the server, PEM")
    parser.add_argument("--tls-cert", type=Path, default=None, help="certificate to show, PEM")
    parser.add_argument("--tls-key", type=Path, default=None, help="its private key, PEM")
    parser.add_argument("--token-file", type=Path, default=None, help="its first line is shown")
    parser.add_argument("--insecure", action="store_true", help="reach other hosts unencrypted")
    parser.add_argument("--proxy", action="store_true", help="reach them through https_proxy's")


def link_security(arguments: argparse.Namespace) -> ClientSecurity:
    """What these options say about certificates and tokens.

    Raises:
        CloudError: they contradict each other.
    """
    return ClientSecurity(
        ca=arguments.tls_ca,
        cert=arguments.tls_cert,
        key=arguments.tls_key,
        token_file=arguments.token_file,
        insecure=arguments.insecure,
        proxy=arguments.proxy,
    )
