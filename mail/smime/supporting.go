package smime

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"hoplite/mail/cms"
)

// judgeSupporting judges a signature's countersignatures and time stamps.
func judgeSupporting(r *run, l *Layer, s *cms.Signed, sig *cms.Signer, sg *Signer) {
	for _, c := range sig.Countersigners {
		by := judgeAside(r, l, s, c, x509.ExtKeyUsageEmailProtection)
		sg.Countersigners = append(sg.Countersigners, by)
		switch v := verdictOf(by.Verdict); {
		case v == cms.Bad:
			r.find("bad_countersignature", warning, l.Part, "an invalid countersignature: "+by.Reason, "the signature itself is not affected")
		case v > cms.Weak:
			r.find("countersignature", info, l.Part, fmt.Sprintf("countersigned by %s, who cannot be verified: %s", by.Subject, by.Reason), "")
		default:
			r.find("countersignature", info, l.Part, "countersigned by "+by.Subject, "")
		}
	}
	for _, t := range sig.Timestamps {
		sg.Timestamps = append(sg.Timestamps, judgeTimestamp(r, l, s, t))
	}
	if at := sg.proven(); at != nil && sg.SigningTime != nil && sg.SigningTime.After(at.Add(skew)) {
		r.find("signing_time", warning, l.Part, fmt.Sprintf("the signer claims to have signed at %s, but a time stamp proves that the signature existed at %s",
			stamp(*sg.SigningTime), stamp(*at)), "")
	}
}

// judgeTimestamp judges one time stamp.
func judgeTimestamp(r *run, l *Layer, s *cms.Signed, t *cms.Timestamp) *Timestamp {
	out := &Timestamp{Signer: &Signer{Trust: TrustMissing}}
	if t.Signer != nil {
		out.Signer = judgeAside(r, l, &cms.Signed{Certs: slices.Concat(t.Certs, s.Certs)}, t.Signer, x509.ExtKeyUsageTimeStamping)
	}
	if v := verdictOf(out.Verdict); out.Verdict == "" || t.Verdict > v {
		out.Verdict, out.Reason = t.Verdict.String(), t.Reason
	}
	if !t.Time.IsZero() {
		out.Time = &t.Time
	}
	switch v := verdictOf(out.Verdict); {
	case v == cms.Bad || out.Time == nil:
		r.find("bad_timestamp", warning, l.Part, "an invalid time stamp: "+out.Reason, "the signature itself is not affected")
	case v > cms.Weak:
		r.find("timestamp", info, l.Part, fmt.Sprintf("a time stamp of %s by %s, which cannot be verified: %s", stamp(*out.Time), out.Subject, out.Reason), "")
	default:
		r.find("timestamp", info, l.Part, fmt.Sprintf("signed before %s, according to the time stamp of %s", stamp(*out.Time), out.Subject), "")
	}
	return out
}

// judgeAside judges a signature that is not on the message itself. The caller
// summarises the findings about its certificate.
func judgeAside(r *run, l *Layer, s *cms.Signed, sig *cms.Signer, purpose x509.ExtKeyUsage) *Signer {
	before := len(r.rep.Findings)
	defer func() { r.rep.Findings = r.rep.Findings[:before] }()
	sg := describe(sig)
	if sig.Cert == nil {
		return sg
	}
	cert, fault := r.certificate(sg, sig)
	if cert == nil {
		return fault
	}
	if r.AnyRoot {
		sg.Trust = TrustUnchecked
		return sg
	}
	return r.trust(l, s, sg, cert, purpose)
}

// proven returns the earliest time at which the signature existed according to
// a trusted time stamp, or nil.
func (sg *Signer) proven() *time.Time {
	var first *time.Time
	for _, t := range sg.Timestamps {
		if t.Verdict == cms.Good.String() && t.Trust == TrustGood && t.Time != nil && (first == nil || t.Time.Before(*first)) {
			first = t.Time
		}
	}
	return first
}
