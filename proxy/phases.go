package proxy

import (
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// access selects the instance of every position and runs its access phase,
// until one answers. Selection goes on after that, because the header filter,
// body filter and log phases still run for all.
func (x *exchange) access() plugin.Verdict {
	verdict := plugin.Continue
	c := x.route.chain
	for i := range c {
		in := c[i].choose(x.Consumer)
		if in == nil {
			continue
		}
		x.choose(in)
		if verdict == plugin.Continue && (in.accessor != nil || in.err != nil) {
			verdict = x.runAccess(in)
		}
	}
	if verdict == plugin.Continue && x.route.service == nil {
		return x.Error(503, "no Service found with those values")
	}
	return verdict
}

// selectAll selects without running access: for requests that are answered
// before that phase.
func (x *exchange) selectAll(c chain) {
	for i := range c {
		if in := c[i].choose(x.Consumer); in != nil {
			x.choose(in)
		}
	}
}

func (x *exchange) choose(in *instance) {
	x.chosen = append(x.chosen, in)
	x.filtersBody = x.filtersBody || in.bodyFilter != nil
}

// runRewrite and runAccess answer a panic of the plugin with 500.
func (x *exchange) runRewrite(in *instance) (v plugin.Verdict) {
	defer x.recoverAnswer(in, "rewrite", &v)
	return in.rewriter.Rewrite(&x.Exchange)
}

func (x *exchange) runAccess(in *instance) (v plugin.Verdict) {
	if in.err != nil {
		return x.unexpected()
	}
	defer x.recoverAnswer(in, "access", &v)
	return in.accessor.Access(&x.Exchange)
}

func (x *exchange) recoverAnswer(in *instance, phase string, v *plugin.Verdict) {
	if cause := recover(); cause != nil {
		x.logPanic(in, phase, cause)
		x.responseFields.Reset() // half an answer
		*v = x.unexpected()
	}
}

// filterHeader runs the header filters. A panic of one does not keep the
// others from running.
func (x *exchange) filterHeader() {
	for _, in := range x.chosen {
		if in.headerFilter != nil {
			x.runFilterHeader(in)
		}
	}
}

func (x *exchange) runFilterHeader(in *instance) {
	defer x.recoverPhase(in, "header_filter")
	in.headerFilter.FilterHeader(&x.Exchange)
}

// filterBody passes a piece of the answer through the body filters.
func (x *exchange) filterBody(piece []byte, last bool) []byte {
	if !x.filtersBody {
		return piece
	}
	for _, in := range x.chosen {
		if in.bodyFilter != nil {
			piece = x.runFilterBody(in, piece, last)
		}
	}
	return piece
}

func (x *exchange) runFilterBody(in *instance, piece []byte, last bool) (out []byte) {
	out = piece // what a panic leaves
	defer x.recoverPhase(in, "body_filter")
	return in.bodyFilter.FilterBody(&x.Exchange, piece, last)
}

func (x *exchange) runLog(in *instance) {
	defer x.recoverPhase(in, "log")
	in.logger.Log(&x.Exchange)
}

func (x *exchange) recoverPhase(in *instance, phase string) {
	if cause := recover(); cause != nil {
		x.logPanic(in, phase, cause)
	}
}

func (x *exchange) logPanic(in *instance, phase string, cause any) {
	x.proxy.log.Error("panic in a plugin", zap.String("plugin", in.entity.Name), zap.String("id", in.entity.ID),
		zap.String("phase", phase), zap.Any("panic", cause), zap.String("request_id", x.Request.ID),
		zap.ByteString("stack", debug.Stack()))
}
