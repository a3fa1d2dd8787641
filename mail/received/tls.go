package received

import (
	"strings"
)

// courierTLS reads "TLSv1/SSLv3,128bits,RC4-MD5" and "TLS1.3, 128bits, CIPHER".
func courierTLS(d *draft, a, b int) {
	for n := 0; a < b && n < 3; n++ {
		end := b
		if comma := strings.IndexByte(d.s[a:b], ','); comma >= 0 {
			end = a + comma
		}
		v, p := d.firstWord(a, end)
		switch n {
		case 0:
			d.line.TLS.Version = d.set(PartTLSVersion, v, p)
		case 1:
			d.line.TLS.Bits = uint16(small(d.s[v:p]))
		case 2:
			d.line.TLS.Cipher = d.set(PartTLSCipher, v, p)
		}
		a = end + 1
	}
}

// usingTLS reads Postfix's "using TLSv1.3 with cipher X (256/256 bits) ...".
func usingTLS(d *draft, a, b int) bool {
	v, e := d.firstWord(a+6, b)
	if v == e || !foldPrefix(d.s[v:e], "tls") && !foldPrefix(d.s[v:e], "ssl") {
		return false
	}
	d.line.TLS.Version = d.set(PartTLSVersion, v, e)
	if i := foldIndex(d.s[e:b], "cipher "); i >= 0 {
		v, e = d.firstWord(e+i+7, b)
		d.line.TLS.Cipher = d.set(PartTLSCipher, v, e)
		if i := strings.IndexByte(d.s[e:b], '('); i >= 0 {
			d.line.TLS.Bits = uint16(small(d.s[e+i+1 : b]))
		}
	}
	return true
}

// tlsNote reads Exim's and OpenSMTPD's "TLSv1.3:CIPHER:256:NO", Courier's
// "TLS: ..." and plain "TLS1.3".
func tlsNote(d *draft, a, b int) bool {
	c := d.s[a:b]
	if foldPrefix(c, "tls:") || foldPrefix(c, "ssl:") {
		courierTLS(d, a+4, b)
		return true
	}
	if len(c) < 4 || !(foldPrefix(c, "tls") || foldPrefix(c, "ssl")) {
		return false
	}
	if k := c[3]; !isDigit(k) && k|0x20 != 'v' && !(k == '-' && len(c) > 4 && isDigit(c[4])) {
		if k == '_' && strings.IndexByte(c, ' ') < 0 { // a cipher by itself
			d.line.TLS.Cipher = d.set(PartTLSCipher, a, b)
			return true
		}
		return false
	}
	v, n := a, 0
	for i := a; i <= b; i++ {
		if i < b && d.s[i] != ':' && class[d.s[i]] != space {
			continue
		}
		if i > v && !fold(d.s[v:i], "with") && !fold(d.s[v:i], "cipher") {
			switch n {
			case 0:
				d.line.TLS.Version = d.set(PartTLSVersion, v, i)
			case 1:
				d.line.TLS.Cipher = d.set(PartTLSCipher, v, i)
			case 2:
				d.line.TLS.Bits = uint16(small(strings.TrimLeft(d.s[v:i], "(")))
			case 3:
				d.line.TLS.Verify = d.s[v:i]
			}
			n++
		}
		v = i + 1
	}
	return true
}

func pairs(d *draft, a, b int) {
	for a < b {
		v, e := d.firstWord(a, b)
		if strings.IndexByte(d.s[v:e], '=') > 0 {
			d.pair(v, e)
		}
		a = max(e, a+1)
	}
}

func certificate(d *draft, c string) {
	switch {
	case strings.Contains(c, "did not present"):
		d.line.TLS.Verify = "NO"
	case strings.Contains(c, "verified OK"):
		d.line.TLS.Verify = "OK"
	case strings.Contains(c, "not verified"):
		d.line.TLS.Verify = "FAIL"
	}
}
