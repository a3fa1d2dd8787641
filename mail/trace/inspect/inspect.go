// Package inspect examines a message as a whole: the path in its header, what it
// contains, the message that a bounce or complaint is about, and on request its
// authentication as of now. hoplite trace and the trace page print its Report.
//
// Start at Inspector.Inspect. Reading the input is left to mail/trace/intake, the
// path to mail/trace, signatures to mail/smime, mail/dkim and mail/arc. The package
// sends nothing by itself: look-ups go through Checks.
package inspect

import (
	"context"

	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/intake"
)

// Inspector examines messages.
type Inspector struct {
	Options trace.Options
	// Checks looks up what an evaluation as of now needs; nil skips it.
	Checks Checks
	// Records searches our own history, as far as Viewer may see it; nil skips it.
	Records Records
	Viewer  story.Viewer
}

// Report is the result for one message.
type Report struct {
	*intake.Input
	Trace *trace.Trace
	// Original is the path of the message that a bounce or complaint is about;
	// nil if its header is not included.
	Original *trace.Trace
	Content  *Content // nil if only a header was given
	Known    *Known   // nil if our history does not know the message
}

// Inspect examines a message, or a header as it was pasted. It fails if there is
// no header field in raw, or if ctx is done.
func (i *Inspector) Inspect(ctx context.Context, raw []byte) (*Report, error) {
	in, err := intake.Read(raw)
	if err != nil {
		return nil, err
	}
	r := &Report{Input: in}
	o := i.Options
	o.Excerpt = in.Pasted
	var now *evaluation
	if i.Checks != nil {
		if now, err = evaluate(ctx, i.Checks, in); err != nil {
			return nil, err
		}
		o.Seals = append(o.Seals, now.seals...)
	}
	r.Trace = trace.Read(in.Head, o)
	if now != nil {
		now.sender(ctx, r.Trace)
		r.Trace.AddVerified(now.claims)
		r.Trace.Findings = append(r.Trace.Findings, now.findings...)
	}
	if r.Content, err = readContent(ctx, in); err != nil {
		return nil, err
	}
	if r.Content != nil {
		r.Trace.Findings = append(r.Trace.Findings, r.Content.findings...)
	}
	if in.Bounce != nil && len(in.Bounce.Original) > 0 {
		o.Seals, o.Excerpt = i.Options.Seals, true
		r.Original = trace.Read(in.Bounce.Original, o)
	}
	if i.Records != nil {
		if r.Known, err = i.known(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Clean reports whether there is nothing to act on: notes alone are fine, but a
// bounce or complaint is not.
func (r *Report) Clean() bool {
	if r.Bounce != nil {
		return false
	}
	for _, f := range r.Trace.Findings {
		if f.Severity != trace.Note {
			return false
		}
	}
	return true
}
