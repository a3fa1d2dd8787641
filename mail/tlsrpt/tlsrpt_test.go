package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
)

// example is the report of RFC 8460, appendix B, with its mx-host as a list.
const example = `{
  "organization-name": "Company-X",
  "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
  "policies": [{
    "policy": {
      "policy-type": "sts",
      "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
      "policy-domain": "company-y.example",
      "mx-host": ["*.mail.company-y.example"]
    },
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
    "failure-details": [{
      "result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100
    }, {
      "result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56", "failed-session-count": 200,
      "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported"
    }, {
      "result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58",
      "receiving-mx-hostname": "mx-backup.mail.company-y.example", "failed-session-count": 3, "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
    }]
  }]
}`

func compressed(t testing.TB, text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, text := range []string{example, compressed(t, example), strings.Replace(example, `["*.mail.company-y.example"]`, `"*.mail.company-y.example"`, 1)} {
		r, err := Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		p := r.Policies[0]
		if r.Organization != "Company-X" || r.Domain() != "company-y.example" || p.Policy.Type != STS || p.Summary != (Summary{5326, 303}) ||
			len(p.Failures) != 3 || p.Failures[1].Result != NoSTARTTLS || p.Failures[1].Sessions != 200 || !reflect.DeepEqual(p.Policy.MX, Strings{"*.mail.company-y.example"}) {
			t.Errorf("%+v", r)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":       "no report",
		"empty":         "",
		"no id":         strings.Replace(example, `"report-id"`, `"x"`, 1),
		"no range":      strings.Replace(example, `"date-range"`, `"x"`, 1),
		"reverse range": strings.Replace(example, `2016-04-01T23`, `2015-04-01T23`, 1),
		"no policies":   strings.Replace(example, `"policies"`, `"x"`, 1),
		"no domain":     strings.Replace(example, `"policy-domain"`, `"x"`, 1),
		"no result":     strings.Replace(example, `"result-type"`, `"x"`, 1),
		"negative":      strings.Replace(example, `5326`, `-1`, 1),
		"cut off":       compressed(t, example)[:100],
		"a bomb":        compressed(t, strings.Repeat(" ", maxReport+1)),
		"too large":     strings.Repeat(" ", maxCompressed+1),
		"many policies": strings.Replace(example, `"policies": [`, `"policies": [`+strings.Repeat(`{"policy":{"policy-type":"sts","policy-domain":"a"},"summary":{}},`, maxPolicies), 1),
		"many failures": strings.Replace(example, `"failure-details": [`, `"failure-details": [`+strings.Repeat(`{"result-type":"x"},`, maxFailures), 1),
	} {
		if r, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(compressed(f, example)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(bytes.NewReader(b))
		if err != nil {
			return
		}
		file, err := r.Compress()
		if err != nil {
			t.Skip("a year that JSON cannot express")
		}
		again, err := Parse(bytes.NewReader(file))
		if err != nil || again.ID != r.ID || len(again.Policies) != len(r.Policies) {
			t.Errorf("%+v, then %+v, %v", r, again, err)
		}
	})
}

func TestParseRecord(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		want  string // addresses, or "!" and the error
	}{
		{[]string{"v=TLSRPTv1; rua=mailto:tls@example.org"}, "mailto:tls@example.org"},
		{[]string{"v=spf1 -all", "v=TLSRPTv1;rua=mailto:a@example.org, https://example.org/tls;"}, "mailto:a@example.org https://example.org/tls"},
		{[]string{"v=TLSRPTv1; ext=x; rua=https://example.org/a%20b"}, "https://example.org/a%20b"},
		{[]string{"v=TLSRPTv1; rua=http://example.org/"}, "!no usable address"},
		{[]string{"v=TLSRPTv1; rua=mailto:"}, "!no usable address"},
		{[]string{"v=TLSRPTv1; rua="}, "!no usable address"},
		{[]string{"v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:c@d"}, "!several"},
		{[]string{"v=TLSRPTv10; rua=mailto:a@b"}, "!no TLSRPT record"},
		{nil, "!no TLSRPT record"},
	} {
		list, err := ParseRecord(tt.texts)
		if want, isErr := strings.CutPrefix(tt.want, "!"); isErr {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, %v", tt.texts, list, err)
			}
			continue
		}
		var got []string
		for _, u := range list {
			got = append(got, u.String())
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, %v", tt.texts, got, err)
		}
	}
	if _, err := ParseRecord(nil); !errors.Is(err, ErrNoRecord) {
		t.Error(err)
	}
	many := "v=TLSRPTv1; rua=" + strings.Repeat("mailto:a@example.org,", 50)
	if list, err := ParseRecord([]string{many}); err != nil || len(list) != maxAddresses {
		t.Errorf("%d addresses, %v", len(list), err)
	}
}

// The message has the structure of RFC 8460, 5.3, and its attachment is the
// report.
func TestCompose(t *testing.T) {
	r, err := Parse(strings.NewReader(example))
	if err != nil {
		t.Fatal(err)
	}
	l := Letter{Report: r, Submitter: "mail.company-x.example", ID: "01abc", At: time.Date(2016, 4, 2, 1, 2, 3, 0, time.UTC), From: "tls@company-x.example", To: "tls@company-y.example"}
	m, err := l.Compose()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	e, err := message.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "<tls@company-x.example>", "To": "<tls@company-y.example>", "TLS-Report-Domain": "company-y.example", "TLS-Report-Submitter": "mail.company-x.example", "TLS-Required": "No",
		"Subject": "Report Domain: company-y.example Submitter: mail.company-x.example Report-ID: <5065427c-23d3-47ca-b6e0-946ea0e8c4be>",
	} {
		if got := e.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if kind, params, _ := e.Header.ContentType(); kind != "multipart/report" || params["report-type"] != "tlsrpt" {
		t.Errorf("type %s, %v", kind, params)
	}
	parts := e.MultipartReader()
	text, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(text.Body); !strings.Contains(string(b), "sts: 5326 sessions succeeded, 303 failed\r\n  certificate-expired at mx1.mail.company-y.example: 100") {
		t.Errorf("text %q", b)
	}
	file, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if kind, _, _ := file.Header.ContentType(); kind != "application/tlsrpt+gzip" {
		t.Errorf("type %s", kind)
	}
	if _, params, _ := file.Header.ContentDisposition(); params["filename"] != "mail.company-x.example!company-y.example!1459468800!1459555199.json.gz" {
		t.Errorf("file name %q", params["filename"])
	}
	if again, err := Parse(file.Body); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("%+v, %v, want %+v", again, err, r)
	}
	if bytes.Contains(m.Head, []byte("\n\n")) {
		t.Error("bare line feeds")
	}
}
