package cms

import (
	"crypto"
	_ "crypto/md5"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"strconv"
	"strings"
)

// oid holds the content octets of an object identifier.
type oid string

// mkoid encodes a dotted identifier. It is used only for the tables below.
func mkoid(dotted string) oid {
	var b []byte
	first := 0
	for i, part := range strings.Split(dotted, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			panic("cms: object identifier " + dotted)
		}
		switch i {
		case 0:
			first = n * 40
			continue
		case 1:
			n += first
		}
		for shift := 28; shift > 0; shift -= 7 {
			if n>>shift != 0 {
				b = append(b, byte(n>>shift)&0x7f|0x80)
			}
		}
		b = append(b, byte(n)&0x7f)
	}
	return oid(b)
}

// String returns the name of a known identifier, or its dotted form.
func (o oid) String() string {
	if n, ok := names[o]; ok {
		return n
	}
	return o.dotted()
}

func (o oid) dotted() string {
	var b strings.Builder
	var v uint64
	first := true
	for i := 0; i < len(o); i++ {
		if v > 1<<56 {
			return "an invalid object identifier"
		}
		v = v<<7 | uint64(o[i]&0x7f)
		if o[i]&0x80 != 0 {
			continue
		}
		if first {
			top := min(v/40, 2)
			b.WriteString(strconv.FormatUint(top, 10))
			v -= top * 40
			first = false
		}
		b.WriteByte('.')
		b.WriteString(strconv.FormatUint(v, 10))
		v = 0
	}
	return b.String()
}

// internOID returns an oid, without allocating if it is known.
func internOID(b []byte) oid {
	if o, ok := known[string(b)]; ok {
		return o
	}
	return oid(b)
}

var (
	oidData          = mkoid("1.2.840.113549.1.7.1")
	oidSigned        = mkoid("1.2.840.113549.1.7.2")
	oidEnveloped     = mkoid("1.2.840.113549.1.7.3")
	oidDigested      = mkoid("1.2.840.113549.1.7.5")
	oidEncrypted     = mkoid("1.2.840.113549.1.7.6")
	oidAuthData      = mkoid("1.2.840.113549.1.9.16.1.2")
	oidCompressed    = mkoid("1.2.840.113549.1.9.16.1.9")
	oidAuthEnveloped = mkoid("1.2.840.113549.1.9.16.1.23")

	attrContentType     = mkoid("1.2.840.113549.1.9.3")
	attrMessageDigest   = mkoid("1.2.840.113549.1.9.4")
	attrSigningTime     = mkoid("1.2.840.113549.1.9.5")
	attrCounterSign     = mkoid("1.2.840.113549.1.9.6")
	attrSigningCert     = mkoid("1.2.840.113549.1.9.16.2.12")
	attrSigningCertV2   = mkoid("1.2.840.113549.1.9.16.2.47")
	attrAlgorithmProtec = mkoid("1.2.840.113549.1.9.52")
	attrTimestamp       = mkoid("1.2.840.113549.1.9.16.2.14")

	keyRSA = mkoid("1.2.840.113549.1.1.1")
	keyPSS = mkoid("1.2.840.113549.1.1.10")
	keyEC  = mkoid("1.2.840.10045.2.1")

	oidOAEP        = mkoid("1.2.840.113549.1.1.7")
	oidMGF1        = mkoid("1.2.840.113549.1.1.8")
	oidZlib        = mkoid("1.2.840.113549.1.9.16.3.8")
	oidOCSPRevInfo = mkoid("1.3.6.1.5.5.7.16.2")
	oidTSTInfo     = mkoid("1.2.840.113549.1.9.16.1.4")
	oidSKI         = mkoid("2.5.29.14")
	oidEd25519     = mkoid("1.3.101.112")
)

// digest describes a digest algorithm.
type digest struct {
	name string
	hash crypto.Hash // 0 if only the name is known
	weak bool
}

var digests = map[oid]digest{
	mkoid("1.2.840.113549.2.2"):      {name: "MD2", weak: true},
	mkoid("1.2.840.113549.2.4"):      {name: "MD4", weak: true},
	mkoid("1.2.840.113549.2.5"):      {"MD5", crypto.MD5, true},
	mkoid("1.3.14.3.2.26"):           {"SHA-1", crypto.SHA1, true},
	mkoid("2.16.840.1.101.3.4.2.4"):  {"SHA-224", crypto.SHA224, false},
	mkoid("2.16.840.1.101.3.4.2.1"):  {"SHA-256", crypto.SHA256, false},
	mkoid("2.16.840.1.101.3.4.2.2"):  {"SHA-384", crypto.SHA384, false},
	mkoid("2.16.840.1.101.3.4.2.3"):  {"SHA-512", crypto.SHA512, false},
	mkoid("2.16.840.1.101.3.4.2.5"):  {"SHA-512/224", crypto.SHA512_224, false},
	mkoid("2.16.840.1.101.3.4.2.6"):  {"SHA-512/256", crypto.SHA512_256, false},
	mkoid("2.16.840.1.101.3.4.2.7"):  {"SHA3-224", crypto.SHA3_224, false},
	mkoid("2.16.840.1.101.3.4.2.8"):  {"SHA3-256", crypto.SHA3_256, false},
	mkoid("2.16.840.1.101.3.4.2.9"):  {"SHA3-384", crypto.SHA3_384, false},
	mkoid("2.16.840.1.101.3.4.2.10"): {"SHA3-512", crypto.SHA3_512, false},
	mkoid("2.16.840.1.101.3.4.2.11"): {name: "SHAKE128"},
	mkoid("2.16.840.1.101.3.4.2.12"): {name: "SHAKE256"},
	mkoid("1.3.36.3.2.1"):            {name: "RIPEMD-160", weak: true},
	mkoid("1.2.643.7.1.1.2.2"):       {name: "Streebog-256"},
	mkoid("1.2.643.7.1.1.2.3"):       {name: "Streebog-512"},
}

// The families of signature algorithms.
const (
	sigUnknown = iota
	sigRSA
	sigPSS
	sigECDSA
	sigEd25519
)

// signature describes a signature algorithm. hash is 0 if the hash depends only
// on the digest algorithm.
type signature struct {
	name string
	kind int
	hash crypto.Hash
}

var signatures = map[oid]signature{
	keyRSA:                              {"RSA", sigRSA, 0},
	mkoid("1.2.840.113549.1.1.2"):       {name: "RSA with MD2"},
	mkoid("1.2.840.113549.1.1.3"):       {name: "RSA with MD4"},
	mkoid("1.2.840.113549.1.1.4"):       {"RSA", sigRSA, crypto.MD5},
	mkoid("1.2.840.113549.1.1.5"):       {"RSA", sigRSA, crypto.SHA1},
	mkoid("1.3.14.3.2.29"):              {"RSA", sigRSA, crypto.SHA1},
	mkoid("1.2.840.113549.1.1.14"):      {"RSA", sigRSA, crypto.SHA224},
	mkoid("1.2.840.113549.1.1.11"):      {"RSA", sigRSA, crypto.SHA256},
	mkoid("1.2.840.113549.1.1.12"):      {"RSA", sigRSA, crypto.SHA384},
	mkoid("1.2.840.113549.1.1.13"):      {"RSA", sigRSA, crypto.SHA512},
	mkoid("1.2.840.113549.1.1.15"):      {"RSA", sigRSA, crypto.SHA512_224},
	mkoid("1.2.840.113549.1.1.16"):      {"RSA", sigRSA, crypto.SHA512_256},
	mkoid("2.16.840.1.101.3.4.3.13"):    {"RSA", sigRSA, crypto.SHA3_224},
	mkoid("2.16.840.1.101.3.4.3.14"):    {"RSA", sigRSA, crypto.SHA3_256},
	mkoid("2.16.840.1.101.3.4.3.15"):    {"RSA", sigRSA, crypto.SHA3_384},
	mkoid("2.16.840.1.101.3.4.3.16"):    {"RSA", sigRSA, crypto.SHA3_512},
	keyPSS:                              {"RSA-PSS", sigPSS, 0},
	keyEC:                               {"ECDSA", sigECDSA, 0},
	mkoid("1.2.840.10045.4.1"):          {"ECDSA", sigECDSA, crypto.SHA1},
	mkoid("1.2.840.10045.4.3.1"):        {"ECDSA", sigECDSA, crypto.SHA224},
	mkoid("1.2.840.10045.4.3.2"):        {"ECDSA", sigECDSA, crypto.SHA256},
	mkoid("1.2.840.10045.4.3.3"):        {"ECDSA", sigECDSA, crypto.SHA384},
	mkoid("1.2.840.10045.4.3.4"):        {"ECDSA", sigECDSA, crypto.SHA512},
	mkoid("2.16.840.1.101.3.4.3.9"):     {"ECDSA", sigECDSA, crypto.SHA3_224},
	mkoid("2.16.840.1.101.3.4.3.10"):    {"ECDSA", sigECDSA, crypto.SHA3_256},
	mkoid("2.16.840.1.101.3.4.3.11"):    {"ECDSA", sigECDSA, crypto.SHA3_384},
	mkoid("2.16.840.1.101.3.4.3.12"):    {"ECDSA", sigECDSA, crypto.SHA3_512},
	oidEd25519:                          {"Ed25519", sigEd25519, 0},
	mkoid("1.3.101.113"):                {name: "Ed448"},
	mkoid("1.2.840.10040.4.1"):          {name: "DSA"},
	mkoid("1.2.840.10040.4.3"):          {name: "DSA"},
	mkoid("1.3.14.3.2.27"):              {name: "DSA"},
	mkoid("2.16.840.1.101.3.4.3.1"):     {name: "DSA"},
	mkoid("2.16.840.1.101.3.4.3.2"):     {name: "DSA"},
	mkoid("2.16.840.1.101.3.4.3.3"):     {name: "DSA"},
	mkoid("2.16.840.1.101.3.4.3.4"):     {name: "DSA"},
	mkoid("2.16.840.1.101.3.4.3.17"):    {name: "ML-DSA-44"},
	mkoid("2.16.840.1.101.3.4.3.18"):    {name: "ML-DSA-65"},
	mkoid("2.16.840.1.101.3.4.3.19"):    {name: "ML-DSA-87"},
	mkoid("2.16.840.1.101.3.4.3.20"):    {name: "SLH-DSA"},
	mkoid("2.16.840.1.101.3.4.3.26"):    {name: "SLH-DSA"},
	mkoid("1.2.840.113549.1.9.16.3.17"): {name: "HSS/LMS"},
	mkoid("1.2.643.7.1.1.1.1"):          {name: "GOST R 34.10-2012"},
	mkoid("1.2.643.7.1.1.1.2"):          {name: "GOST R 34.10-2012"},
}

// names maps identifiers to names shown to users.
var names = map[oid]string{
	oidData: "data", oidSigned: "signed-data", oidEnveloped: "enveloped-data",
	oidDigested: "digested-data", oidEncrypted: "encrypted-data",
	oidAuthData: "authenticated-data", oidCompressed: "compressed-data",
	oidAuthEnveloped:                   "authenveloped-data",
	mkoid("1.2.840.113549.1.7.4"):      "signed-and-enveloped-data",
	mkoid("1.2.840.113549.1.9.16.1.1"): "signed-receipt",
	oidTSTInfo:                         "timestamp token",

	attrContentType: "content-type", attrMessageDigest: "message-digest",
	attrSigningTime: "signing-time", attrCounterSign: "countersignature",
	attrSigningCert: "signing-certificate", attrSigningCertV2: "signing-certificate-v2",
	attrAlgorithmProtec:                 "algorithm-protection",
	mkoid("1.2.840.113549.1.9.15"):      "S/MIME capabilities",
	mkoid("1.2.840.113549.1.9.16.2.1"):  "receipt request",
	mkoid("1.2.840.113549.1.9.16.2.2"):  "security label",
	mkoid("1.2.840.113549.1.9.16.2.3"):  "list expansion history",
	mkoid("1.2.840.113549.1.9.16.2.4"):  "content hint",
	mkoid("1.2.840.113549.1.9.16.2.5"):  "message signature digest",
	mkoid("1.2.840.113549.1.9.16.2.7"):  "content identifier",
	mkoid("1.2.840.113549.1.9.16.2.9"):  "equivalent labels",
	mkoid("1.2.840.113549.1.9.16.2.10"): "content reference",
	mkoid("1.2.840.113549.1.9.16.2.11"): "encryption key preference",
	attrTimestamp:                       "signature timestamp",
	mkoid("1.3.6.1.4.1.311.16.4"):       "Microsoft encryption key preference",

	mkoid("1.3.14.3.2.7"):               "DES",
	mkoid("1.2.840.113549.3.2"):         "RC2",
	mkoid("1.2.840.113549.3.4"):         "RC4",
	mkoid("1.2.840.113549.3.7"):         "3DES",
	mkoid("1.2.840.113533.7.66.10"):     "CAST5",
	mkoid("2.16.840.1.101.3.4.1.2"):     "AES-128-CBC",
	mkoid("2.16.840.1.101.3.4.1.22"):    "AES-192-CBC",
	mkoid("2.16.840.1.101.3.4.1.42"):    "AES-256-CBC",
	mkoid("2.16.840.1.101.3.4.1.6"):     "AES-128-GCM",
	mkoid("2.16.840.1.101.3.4.1.26"):    "AES-192-GCM",
	mkoid("2.16.840.1.101.3.4.1.46"):    "AES-256-GCM",
	mkoid("2.16.840.1.101.3.4.1.7"):     "AES-128-CCM",
	mkoid("2.16.840.1.101.3.4.1.27"):    "AES-192-CCM",
	mkoid("2.16.840.1.101.3.4.1.47"):    "AES-256-CCM",
	mkoid("1.2.840.113549.1.9.16.3.18"): "ChaCha20-Poly1305",
	mkoid("1.2.840.113549.1.9.16.3.9"):  "password-based key wrap",
	mkoid("2.16.840.1.101.3.4.1.5"):     "AES-128 key wrap",
	mkoid("2.16.840.1.101.3.4.1.25"):    "AES-192 key wrap",
	mkoid("2.16.840.1.101.3.4.1.45"):    "AES-256 key wrap",
	mkoid("1.2.840.113549.1.9.16.3.6"):  "3DES key wrap",
	mkoid("1.2.840.113549.1.9.16.3.7"):  "RC2 key wrap",
	mkoid("1.2.840.113549.1.9.16.3.5"):  "Diffie-Hellman",
	mkoid("1.2.840.113549.1.9.16.3.10"): "Diffie-Hellman",
	mkoid("1.3.133.16.840.63.0.2"):      "ECDH with SHA-1",
	mkoid("1.3.132.1.11.0"):             "ECDH with SHA-224",
	mkoid("1.3.132.1.11.1"):             "ECDH with SHA-256",
	mkoid("1.3.132.1.11.2"):             "ECDH with SHA-384",
	mkoid("1.3.132.1.11.3"):             "ECDH with SHA-512",
	mkoid("1.3.132.1.14.1"):             "cofactor ECDH with SHA-256",
	mkoid("1.2.840.113549.1.9.16.3.19"): "ECDH with HKDF-SHA-256",
	oidOAEP:                             "RSA-OAEP",
	oidZlib:                             "zlib",
	mkoid("2.16.840.1.101.3.4.4.1"):     "ML-KEM-512",
	mkoid("2.16.840.1.101.3.4.4.2"):     "ML-KEM-768",
	mkoid("2.16.840.1.101.3.4.4.3"):     "ML-KEM-1024",
}

var known = map[string]oid{}

func init() {
	for o, d := range digests {
		names[o] = d.name
	}
	for o, s := range signatures {
		n := s.name
		if s.hash != 0 {
			n += " with " + hashName(s.hash)
		}
		names[o] = n
	}
	for o := range names {
		known[string(o)] = o
	}
}

func hashName(h crypto.Hash) string {
	for _, d := range digests {
		if d.hash == h {
			return d.name
		}
	}
	return h.String()
}
