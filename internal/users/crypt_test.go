package users

import (
	"strings"
	"testing"
)

// TestCryptAgainstOpenSSL checks hashes created by openssl passwd.
func TestCryptAgainstOpenSSL(t *testing.T) {
	long := strings.Repeat("long pass ", 10)
	for _, hash := range []string{
		"$1$saltsalt$6MwOvj8o/tm5KrrPheFZk0",
		"$5$saltsalt$7Sp9t5YNnvQkWw1kO5aGoXEvtwAvTvQSnsnVG7Ze9b/",
		"$6$saltsalt$KH6tYvu..R582DIOuanPfiYv//oZFI3Wo4NaNJHs1R3R0/.2t4tH8QBCsc7HdocgTe/FRbE/EAkbwZv0b4f3p.",
	} {
		if err := checkLegacy(hash); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
		if !verifyLegacy(hash, long) || verifyLegacy(hash, long[1:]) {
			t.Errorf("%s is checked wrongly", hash)
		}
	}
}

// The cost of checking a hash is bounded when the file is read.
func TestLegacyBounds(t *testing.T) {
	const (
		sum   = "AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz."
		key22 = "diEoPOK90LMtrWyT.aW2beh2lU8YJWEpMxg4QcLsuSdz7HXIvMiqG"
	)
	for hash, want := range map[string]string{
		"$6$saltstring$" + sum:                      "",
		"$6$rounds=10$saltstring$" + sum:            "", // treated as 1000, as in crypt(3)
		"$6$" + strings.Repeat("s", 40) + "$" + sum: "", // only 16 octets of the salt are used
		"$6$rounds=99999999$salt$" + sum:            "rounds",
		"$6$rounds=-1$salt$" + sum:                  "rounds",
		"$6$rounds=x$salt$" + sum:                   "rounds",
		"$1$rounds=5000$salt$" + sum[:22]:           "want $1$",
		"$6$salt$" + sum[1:]:                        "85 characters",
		"$6$salt":                                   "unknown kind",
		"$7$salt$" + sum:                            "unknown kind",
		"plain":                                     "unknown kind",
		"$2a$12$" + key22:                           "",
		"$2a$17$" + key22:                           "cost 17",
		"$2a$31$" + key22:                           "cost 31",
		"$2a$xx$" + key22:                           "bcrypt hash",
		"$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$AAAAAAAAAAA":       "",
		"$argon2id$v=19$m=1048576,t=4,p=4$c2FsdHNhbHQ$AAAAAAAAAAA":     "",
		"$argon2id$v=19$m=1048576,t=5,p=4$c2FsdHNhbHQ$AAAAAAAAAAA":     "out of bounds",
		"$argon2id$v=19$m=4294967295,t=1,p=4$c2FsdHNhbHQ$AAAAAAAAAAA":  "out of bounds",
		"$argon2id$v=19$m=64,t=4294967295,p=4$c2FsdHNhbHQ$AAAAAAAAAAA": "out of bounds",
		"$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$AAAAAAAAAAA":          "out of bounds",
		"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAA":          "want $argon2id",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAA":                  "out of bounds",
		"$argon2id$v=19$m=64,t=1,p=1$!$AAAAAAAAAAA":                    "salt",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$!":                    "sum",
		"$argon2id$v=19$m=x$c2FsdHNhbHQ$AAAAAAAAAAA":                   "parameters",
		scheme + "99999999,c2FsdA==,AAAA,AAAA":                         "unknown kind",
	} {
		err := checkLegacy(hash)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", hash, err, want)
		}
	}
	if _, err := parseKeys(scheme + "99999999,c2FsdA==,AAAA,AAAA"); err == nil {
		t.Error("SCRAM iterations are not bounded")
	}
}
