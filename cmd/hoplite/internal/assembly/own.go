package assembly

import (
	"context"
	"fmt"

	"hoplite/filters/sign"
	"hoplite/mail"
)

// SignOwn signs a message composed by this server, which passes through no
// route, with the first sign filter for its From domain. It returns the message
// unchanged if there is none, or if the hop replaces the sender, which would
// break the signature.
func (g *Generation) SignOwn(ctx context.Context, hop string, m *mail.Message) (*mail.Message, error) {
	if up := g.Upstreams[hop]; up != nil && up.Sender() != "" {
		return m, nil
	}
	f := g.signerOf(m)
	if f == nil {
		return m, nil
	}
	top, err := f.AtSend(ctx, nil, m)
	if err != nil {
		return m, fmt.Errorf("sign: %w", err)
	}
	return m.Edited(top), nil
}

// signerOf returns the first sign filter of a route for a message's From domain,
// or nil.
func (g *Generation) signerOf(m *mail.Message) *sign.Filter {
	for _, c := range g.Config.Chain {
		for i := range g.Chains[c.Name].Routes {
			for _, finish := range g.Chains[c.Name].Routes[i].Finish {
				if f, ok := finish.Finisher.(*sign.Filter); ok && f.Covers(m) {
					return f
				}
			}
		}
	}
	return nil
}
