package users

import (
	"encoding/base64"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const long = "päss wörd that is longer than sixty four octets, so that every loop goes round"

func TestLegacyHashes(t *testing.T) {
	bc, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte("0123456789abcdef")
	sum := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("secret"), salt, 1, 64, 1, 32))
	for _, c := range []struct{ name, hash, password string }{
		{"sha256, short salt", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
		{"sha512, short salt", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"sha512, rounds", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.", "Hello world!"},
		{"bcrypt", string(bc), "secret"},
		{"argon2id", "$argon2id$v=19$m=64,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + sum, "secret"},
		{"openssl $1$ abcdefgh", "$1$abcdefgh$5BVR9B4/pCekWbUoYTwyb.", long},
		{"openssl $1$ s", "$1$s$eSlDmdCX8nqs9SNxRTvrN.", "x"},
		{"openssl $5$ abcdefgh", "$5$abcdefgh$3cxx5BLoXAqCsVpzs2zSZAKkVzJ4SAjhq4w8WfidY09", long},
		{"openssl $5$ s", "$5$s$dW5XYXYClLA6gQlrluhRP/DxJYAevXA9e.Rufup9G5.", "x"},
		{"openssl $6$ abcdefgh", "$6$abcdefgh$k52xUx2chVbEtegVKdd8ojHP1aB05FNSmGBrzYhbmR.PZcBpBz1IpuzFal8kRXSTuIawmBiOgGVUqjtTRCTY2/", long},
		{"openssl $6$ s", "$6$s$SBlV1TrR7m/.1RRLMAAvh/x6acOyBKfXVqXOixcaFNbUhqE84RFnq6y5mvfWTW8EA6yIr1RuWU8IRsKA/9jfE.", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := checkLegacy(c.hash); err != nil {
				t.Fatal(err)
			}
			if !verifyLegacy(c.hash, c.password) {
				t.Error("the right password does not fit")
			}
			for _, wrong := range []string{"", c.password + "x", c.password[1:]} {
				if verifyLegacy(c.hash, wrong) {
					t.Errorf("wrong password %q fits", wrong)
				}
			}
		})
	}
}

func TestBadHashes(t *testing.T) {
	for _, h := range []string{
		"", "secret", "$", "$6$", "$6$salt$", "$6$salt$short", "$7$a$b", "$6$rounds=x$salt$sum", "$6$rounds=999999999$s$" + string(make([]byte, 86)),
		"$2y$99$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAAAAAA",
		"$argon2id$v=19$m=64,t=0,p=1$AAAA$AAAAAAAA", "$argon2id$v=19$m=64,t=1,p=0$AAAA$AAAAAAAA", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAAAAAA",
	} {
		if checkLegacy(h) == nil {
			t.Errorf("%q is taken for a hash", h)
		}
	}
}

// TestKeysRFC7677 uses the example in RFC 7677, section 3.
func TestKeysRFC7677(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k := derive("pencil", salt, 4096)
	auth := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := base64.StdEncoding.EncodeToString(sum(k.Server, auth)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
	back, err := parseKeys(k.String())
	if err != nil || !back.matches(k) || back.Iterations != 4096 {
		t.Errorf("read back: %+v, %v", back, err)
	}
	if !derive("I\u00adX", salt, 1).matches(derive("IX", salt, 1)) { // a soft hyphen is removed (RFC 4013, section 3)
		t.Error("SASLprep was not applied")
	}
}
