package received

import (
	"strings"
)

// courierTLS reads "TLSv1/SSLv3,128bits,RC4-MD5".
func (r *reader) courierTLS(a, b int) {
	v, e := r.firstWord(a, b)
	for n := 0; v < e && n < 3; n++ {
		p := v
		for p < e && r.s[p] != ',' {
			p++
		}
		switch n {
		case 0:
			r.h.TLS.Version = r.set(PartTLSVersion, v, p)
		case 1:
			r.h.TLS.Bits = uint16(small(r.s[v:p]))
		case 2:
			r.h.TLS.Cipher = r.set(PartTLSCipher, v, p)
		}
		v = p + 1
	}
}

// usingTLS reads Postfix' "using TLSv1.3 with cipher X (256/256 bits) ...".
func (r *reader) usingTLS(a, b int) bool {
	v, e := r.firstWord(a+6, b)
	if v == e || !foldPrefix(r.s[v:e], "tls") && !foldPrefix(r.s[v:e], "ssl") {
		return false
	}
	r.h.TLS.Version = r.set(PartTLSVersion, v, e)
	if i := foldIndex(r.s[e:b], "cipher "); i >= 0 {
		v, e = r.firstWord(e+i+7, b)
		r.h.TLS.Cipher = r.set(PartTLSCipher, v, e)
		if i := strings.IndexByte(r.s[e:b], '('); i >= 0 {
			r.h.TLS.Bits = uint16(small(r.s[e+i+1 : b]))
		}
	}
	return true
}

// tlsNote reads Exim's and OpenSMTPD's "TLSv1.3:CIPHER:256:NO", Courier's
// "TLS: ..." and plain "TLS1.3".
func (r *reader) tlsNote(a, b int) bool {
	c := r.s[a:b]
	if foldPrefix(c, "tls:") || foldPrefix(c, "ssl:") {
		r.courierTLS(a+4, b)
		return true
	}
	if len(c) < 4 || !(foldPrefix(c, "tls") || foldPrefix(c, "ssl")) {
		return false
	}
	if d := c[3]; !isDigit(d) && d|0x20 != 'v' && !(d == '-' && len(c) > 4 && isDigit(c[4])) {
		if d == '_' && strings.IndexByte(c, ' ') < 0 { // a cipher by itself
			r.h.TLS.Cipher = r.set(PartTLSCipher, a, b)
			return true
		}
		return false
	}
	v, n := a, 0
	for i := a; i <= b; i++ {
		if i < b && r.s[i] != ':' && class[r.s[i]] != space {
			continue
		}
		if i > v && !fold(r.s[v:i], "with") && !fold(r.s[v:i], "cipher") {
			switch n {
			case 0:
				r.h.TLS.Version = r.set(PartTLSVersion, v, i)
			case 1:
				r.h.TLS.Cipher = r.set(PartTLSCipher, v, i)
			case 2:
				r.h.TLS.Bits = uint16(small(strings.TrimLeft(r.s[v:i], "(")))
			case 3:
				r.h.TLS.Verify = r.s[v:i]
			}
			n++
		}
		v = i + 1
	}
	return true
}

func (r *reader) pairs(a, b int) {
	for a < b {
		v, e := r.firstWord(a, b)
		if strings.IndexByte(r.s[v:e], '=') > 0 {
			r.pair(v, e)
		}
		a = max(e, a+1)
	}
}

func (r *reader) certificate(c string) {
	switch {
	case strings.Contains(c, "did not present"):
		r.h.TLS.Verify = "NO"
	case strings.Contains(c, "verified OK"):
		r.h.TLS.Verify = "OK"
	case strings.Contains(c, "not verified"):
		r.h.TLS.Verify = "FAIL"
	}
}
