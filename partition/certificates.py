"""Certificates for both ends of the link: `python -m partition.certificates --out DIR --host NAME`.

Makes an authority of your own, a certificate for the server and one for the boards. Copy
ca.pem, client.pem and client-key.pem to the boards, and keep ca-key.pem off both.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.regular_file import read_bytes
from partition import cli
from partition.errors import CloudError

_AUTHORITY_DAYS = 3650
_DAYS = 825
_CLOCK_SKEW = datetime.timedelta(hours=1)


def make_certificates(out: Path, hosts: Sequence[str], days: int = _DAYS) -> list[Path]:
    """Write an authority (kept if it is there already) and certificates that it signed.

    Args:
        out: folder, made if need be.
        hosts: names and addresses by which clients know the server.
        days: validity.

    Returns:
        What was written.

    Raises:
        CloudError: the folder cannot be written, or its authority not be read.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        authority, written = _authority(out)
        usages = {
            "server": ExtendedKeyUsageOID.SERVER_AUTH,
            "client": ExtendedKeyUsageOID.CLIENT_AUTH,
        }
        for name, usage in usages.items():
            key = ec.generate_private_key(ec.SECP256R1())
            builder = _builder(f"dvfo {name}", key.public_key(), authority[0].subject, days)
            builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            if name == "server":
                names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
                builder = builder.add_extension(names, critical=False)
            written += _write(out, name, builder.sign(authority[1], hashes.SHA256()), key)
    except (OSError, ValueError, TypeError) as error:
        raise CloudError(
            f"cannot make certificates in {out} ({error}): choose another folder or host"
        ) from error
    return written


def _authority(
    out: Path,
) -> tuple[tuple[x509.Certificate, ec.EllipticCurvePrivateKey], list[Path]]:
    if (out / "ca.pem").exists():
        key = serialization.load_pem_private_key(read_bytes(out / "ca-key.pem"), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("ca-key.pem is no elliptic curve key")
        return (x509.load_pem_x509_certificate(read_bytes(out / "ca.pem")), key), []
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dvfo authority")])
    builder = _builder("dvfo authority", key.public_key(), name, _AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    return (certificate, key), _write(out, "ca", certificate, key)


def _builder(
    subject: str, key: ec.EllipticCurvePublicKey, issuer: x509.Name, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    out: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    paths = [out / f"{name}.pem", out / f"{name}-key.pem"]
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    paths[1].unlink(missing_ok=True)
    with os.fdopen(os.open(paths[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    return paths


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.certificates", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--host", action="append", required=True, help="name or address of the server; repeatable"
    )
    parser.add_argument("--days", type=cli.positive, default=_DAYS, help=f"validity ({_DAYS})")
    arguments = parser.parse_args()
    for path in make_certificates(arguments.out, arguments.host, arguments.days):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    sys.exit(cli.run(_main))
