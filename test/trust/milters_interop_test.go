//go:build interop && linux

package trust

import (
	"cmp"
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/emersion/go-milter"

	"hoplite/mail"
	"hoplite/mail/authres"
)

// milterFields passes a message through a milter and returns the header fields
// that it adds.
func milterFields(client *milter.Client, c *Case, extra string) (textproto.MIMEHeader, error) {
	s, err := client.Session()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Conn(c.Helo, milter.FamilyInet, 25, c.IP); err != nil {
		return nil, err
	}
	if _, err := s.Helo(c.Helo); err != nil {
		return nil, err
	}
	if err := s.Macros(milter.CodeMail, "i", "q"+c.Name); err != nil {
		return nil, err
	}
	if _, err := s.Mail(c.From, nil); err != nil {
		return nil, err
	}
	if _, err := s.Rcpt("bob@receiver.example", nil); err != nil {
		return nil, err
	}
	head, body, _ := strings.Cut(extra+string(c.Text), "\r\n\r\n")
	for f := range mail.Fields([]byte(head + "\r\n\r\n")) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(f.Raw), "\r\n"), ":")
		if a, err := s.HeaderField(name, strings.TrimPrefix(strings.ReplaceAll(value, "\r\n", "\n"), " ")); err != nil || a.Code != milter.ActContinue {
			return nil, fmt.Errorf("header: %v %w", a, err)
		}
	}
	if a, err := s.HeaderEnd(); err != nil || a.Code != milter.ActContinue {
		return nil, err // accepted without changes
	}
	actions, _, err := s.BodyReadFrom(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	fields := textproto.MIMEHeader{}
	for _, a := range actions {
		if a.Code == milter.ActAddHeader || a.Code == milter.ActInsertHeader {
			fields.Add(a.HeaderName, a.HeaderValue)
		}
	}
	return fields, nil
}

// found returns the results in Authentication-Results fields.
func found(fields textproto.MIMEHeader) ([]mail.AuthResult, error) {
	var all []mail.AuthResult
	for _, v := range fields["Authentication-Results"] {
		h, err := authres.Parse([]byte(strings.ReplaceAll(v, "\n", "\r\n")))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", v, err)
		}
		all = append(all, h.Results...)
	}
	return all, nil
}

// opendkim verifies signatures, as a milter.
func opendkim(t *testing.T) judgeOf {
	dir := place(t)
	sock := dir + "/sock"
	conf := write(t, dir+"/conf", fmt.Sprintf("Mode v\nAuthservID judge.example\nAlwaysAddARHeader yes\nNameservers %s\nBackground no\nSyslog no\nOn-Default accept\nOn-DNSError accept\nDNSTimeout 3\nMinimumKeyBits 1024\n", nameserver))
	daemon(t, "unix", sock, "/usr/sbin/opendkim", "-f", "-x", conf, "-p", "local:"+sock)
	client := milter.NewClientWithOptions("unix", sock, milter.ClientOptions{ActionMask: milter.OptAddHeader | milter.OptChangeHeader})
	t.Cleanup(func() { client.Close() })
	return judgeOf{"opendkim", func(c *Case, _ Results) (Results, error) {
		fields, err := milterFields(client, c, "")
		if err != nil {
			return Results{}, err
		}
		all, err := found(fields)
		r := Results{DKIM: "none"}
		for _, a := range all {
			if a.Method == "dkim" {
				r.DKIM = better(r.DKIM, a.Value)
			}
		}
		return r, err
	}}
}

// opendmarc evaluates the policy from our SPF and DKIM results, as a milter.
func opendmarc(t *testing.T) judgeOf {
	dir := place(t)
	sock := dir + "/sock"
	conf := write(t, dir+"/conf", fmt.Sprintf("AuthservID judge.example\nTrustedAuthservIDs judge.example\nBackground false\nSyslog false\nIgnoreHosts %s\nPublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\nRequiredHeaders false\nRejectFailures false\n",
		write(t, dir+"/ignore", "203.0.113.1\n")))
	daemon(t, "unix", sock, withNameserver(t, dir, "/usr/sbin/opendmarc", "-f", "-c", conf, "-p", "local:"+sock)...)
	client := milter.NewClientWithOptions("unix", sock, milter.ClientOptions{ActionMask: milter.OptAddHeader | milter.OptChangeHeader | milter.OptQuarantine})
	t.Cleanup(func() { client.Close() })
	return judgeOf{"opendmarc", func(c *Case, ours Results) (Results, error) {
		if c.From == "" {
			return Results{}, nil // opendmarc reads only results for reverse paths
		}
		var given []mail.AuthResult // contains one SPF result, because opendmarc uses the first
		for _, a := range ours.Auth {
			if a.Method == "spf" { // opendmarc reads domains only in this form
				_, domain, _ := strings.Cut(a.Props[0].Value, "@")
				a.Props = []mail.AuthProp{{Type: "smtp", Name: a.Props[0].Name, Value: cmp.Or(domain, a.Props[0].Value)}}
			}
			switch {
			case a.Method == "spf" && len(given) > 0:
				given[0] = a
			case a.Method == "spf" || a.Method == "dkim":
				given = append(given, a)
			}
		}
		fields, err := milterFields(client, c, strings.TrimSuffix(string(authres.Field("judge.example", given)), "\r\n")+"\r\n")
		if err != nil {
			return Results{}, err
		}
		all, err := found(fields)
		r := Results{SPF: ours.SPF, DKIM: ours.DKIM, DMARC: "none"}
		for _, a := range all {
			if a.Method == "dmarc" {
				r.DMARC = a.Value
			}
		}
		return r, err
	}}
}
