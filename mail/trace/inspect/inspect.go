// Package inspect examines a message as a whole: the path in its header, its
// contents, the original message of a bounce or complaint and, on request, its
// authentication at present. hoplite trace and the trace page print its Report.
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
	// Checks performs the look-ups for evaluating authentication at present;
	// nil skips the evaluation.
	Checks Checks
	// Records searches our own history, as far as Viewer may see it; nil skips
	// the search.
	Records Records
	Viewer  story.Viewer
}

// Report is the result of examining one message.
type Report struct {
	*intake.Input
	Trace *trace.Trace
	// Original is the path of the original message of a bounce or complaint, or
	// nil if its header is not included.
	Original *trace.Trace
	Content  *Content // nil if only a header was given
	Known    *Known   // nil if the message is not in our history
}

// Inspect examines a message or a pasted header. It returns an error if there
// is no header field in raw or ctx is done.
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

// Clean reports whether no action is needed: there are no findings other than
// notes, and the message is not a bounce or complaint.
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
