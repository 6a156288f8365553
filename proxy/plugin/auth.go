package plugin

import (
	"github.com/sluicegate/sluice/fsm"
)

// The request fields that tell the upstream who was found (Kong's names).
const (
	headerConsumerID       = "X-Consumer-ID"
	headerConsumerCustomID = "X-Consumer-Custom-ID"
	headerConsumerUsername = "X-Consumer-Username"
	headerCredential       = "X-Credential-Identifier"
	headerAnonymous        = "X-Anonymous-Consumer"
)

// Auth holds the config fields that auth plugins share, and what follows from
// them. Embed it in a plugin's config struct.
//
// Several auth plugins on one request stand in one of two relations. With
// Anonymous set on each, any one suffices: a plugin that finds a credential
// already accepted does nothing, and one whose own check fails lets the request
// go on as the anonymous consumer, for a later plugin to find a better one.
// Without Anonymous each must succeed, and the last one names the consumer.
type Auth struct {
	// Anonymous is the id or the username of the consumer that stands for
	// requests without a valid credential. Default "": they are refused.
	Anonymous string `json:"anonymous"`
	// RunOnPreflight says whether OPTIONS requests need a credential too. Kong's
	// default is true.
	RunOnPreflight bool `json:"run_on_preflight"`
}

// Skips says whether the plugin has nothing to do for this request: a preflight
// that passes unchecked, or one of several plugins of which an earlier one has
// accepted a credential.
func (a *Auth) Skips(ex *Exchange) bool {
	if !a.RunOnPreflight && ex.Request.Method == "OPTIONS" {
		return true
	}
	return a.Anonymous != "" && ex.Credential.ID != ""
}

// Authenticate makes consumer the sender of the request and tells the upstream
// so. What the client itself sent under the names of these fields is replaced
// or removed. The credential must have an ID.
func (ex *Exchange) Authenticate(consumer *fsm.Consumer, credential Credential) {
	ex.identify(consumer, credential)
	ex.Request.Header.Del(headerAnonymous)
}

// AuthenticateAnonymous makes the consumer with this id or username the sender
// of a request that has no valid credential. Without such a consumer it answers
// 500 and gives Stop, because to let the request pass would open what the
// configuration means to guard.
func (ex *Exchange) AuthenticateAnonymous(idOrName string) Verdict {
	consumer, ok := ex.Directory.Consumer(idOrName)
	if !ok {
		return ex.Error(500, "anonymous consumer "+idOrName+" is configured but doesn't exist")
	}
	ex.identify(consumer, Credential{})
	ex.Request.Header.Set(headerAnonymous, "true")
	return Continue
}

func (ex *Exchange) identify(consumer *fsm.Consumer, credential Credential) {
	ex.Consumer, ex.Credential = consumer, credential
	h := ex.Request.Header
	replace(h, headerConsumerID, consumer.ID)
	replace(h, headerConsumerCustomID, consumer.CustomID)
	replace(h, headerConsumerUsername, consumer.Username)
	replace(h, headerCredential, credential.Identifier)
}

// replace sets a field, or removes it when there is nothing to say.
func replace(h Header, name, value string) {
	if value == "" {
		h.Del(name)
		return
	}
	h.Set(name, value)
}
