import base64, json, sys
import dns.resolver
r = dns.resolver.Resolver(configure=False)
r.nameservers, r.port, r.timeout, r.lifetime = [sys.argv[1]], 53, 0.5, 0.5
dns.resolver.default_resolver = r
import dkim, spf, authheaders
import authheaders.dmarc_lookup
from publicsuffix2 import PublicSuffixList
suffixes = PublicSuffixList()
authheaders.dmarc_lookup.PublicSuffixList = lambda *args, **kwargs: suffixes  # it reads the list each time
from authres import SPFAuthenticationResult, DKIMAuthenticationResult

def txt(name, timeout=5):
    # dkimpy takes the first record and hides failures
    try:
        answer = dns.resolver.resolve(name.decode(), "TXT", raise_on_no_answer=False)
        for rr in answer.rrset or []:
            return b"".join(rr.strings)
    except dns.resolver.NXDOMAIN:
        return None
    except Exception as e:
        raise dkim.DnsTimeoutError(str(e))

def fields(msg, start):
    # not with dkimpy's parser, which stops at white space before a colon
    return sum(1 for line in msg.split(b"\r\n\r\n")[0].lower().split(b"\r\n") if line.startswith(start))

def judge_dkim(msg):
    best = "none"
    order = ["pass", "temperror", "fail", "none"]
    n = fields(msg, b"dkim-signature")
    for i in range(min(n, 5)):
        try:
            got = "pass" if dkim.DKIM(msg, minkey=1024).verify(idx=i, dnsfunc=txt) else "fail"
        except dkim.DnsTimeoutError:
            got = "temperror"
        except Exception:
            got = "fail"
        if order.index(got) < order.index(best):
            best = got
    return best

def judge_arc(msg):
    if not fields(msg, b"arc-"):
        return "none"
    try:
        return dkim.ARC(msg, minkey=1024).verify(dnsfunc=txt)[0].decode()
    except Exception:
        return "fail"

def judge_dmarc(c):
    if not c["from_domain"]:
        return ""
    s = SPFAuthenticationResult(result=c["spf"], smtp_mailfrom=c["mailfrom"]) if c["spf"] else None
    d = DKIMAuthenticationResult(result=c["dkim"], header_d=c["dkim_domain"]) if c["dkim"] else None
    try:
        got = authheaders.dmarc_per_from(c["from_domain"], s, d, dmarcbis=True)
        return got[0]
    except dns.exception.DNSException:
        return "temperror"

for line in sys.stdin:
    c = json.loads(line)
    msg = base64.b64decode(c["text"])
    out = {"spf": spf.check2(i=c["ip"], s=c["from"], h=c["helo"])[0], "dkim": judge_dkim(msg), "arc": judge_arc(msg)}
    try:
        out["dmarc"] = judge_dmarc(c)
    except Exception as e:
        out["dmarc"] = "error " + repr(e)
    print(json.dumps(out), flush=True)
