// Package inspect examines a message as a whole: the path in its header, its
// contents, the original message of a bounce or complaint and, on request, its
// current authentication. hoplite trace and the trace page print the Report.
//
// Start with Inspector.Inspect. Input is read by mail/trace/intake, the path is
// analysed by mail/trace, and signatures are verified by mail/smime, mail/dkim
// and mail/arc. The package itself sends nothing over the network; lookups go
// through Checks.
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
	// Checks performs the lookups needed to evaluate authentication now. If
	// it is nil, the evaluation is skipped.
	Checks Checks
	// Records searches our own history, limited to what Viewer may see. If
	// it is nil, the search is skipped.
	Records Records
	Viewer  story.Viewer
}

// Report is the result of examining one message.
type Report struct {
	*intake.Input
	Trace *trace.Trace
	// Original is the path of the original message of a bounce or
	// complaint. It is nil if the report does not include the original
	// header.
	Original *trace.Trace
	Content  *Content // nil if only a header was given
	Known    *Known   // nil if the message is not in our history
}

// Inspect examines a message or a pasted header. It returns an error if raw
// contains no header field or ctx is done.
func (i *Inspector) Inspect(ctx context.Context, raw []byte) (*Report, error) {
	in, err := intake.Read(ctx, raw)
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
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Trace = trace.Read(in.Head, o)
	if now != nil {
		now.sender(ctx, r.Trace)
		r.Trace.AddVerified(now.claims)
		r.Trace.Findings = append(r.Trace.Findings, now.findings...)
	}
	r.Trace.Findings = append(r.Trace.Findings, author(in.Head)...)
	if r.Content, err = readContent(ctx, in); err != nil {
		return nil, err
	}
	if r.Content != nil {
		r.Trace.Findings = append(r.Trace.Findings, r.Content.findings...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
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

// Clean reports whether no action is needed: all findings are notes, and the
// message is not a bounce or complaint.
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
