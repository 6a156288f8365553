package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// credential is an entity of /consumers/NAME/jwt.
type credential struct {
	Key       string `json:"key"`
	Secret    string `json:"secret"`
	Algorithm string `json:"algorithm"`
}

// fromConsumer takes key, algorithm and secret from a credential of the
// consumer, and makes what is missing. A credential with a public key can be
// used with --private-key only, so one with a secret is looked for otherwise.
func (o *tokenOptions) fromConsumer(ctx context.Context, client *adminClient) error {
	path := "/consumers/" + url.PathEscape(o.consumer)
	if err := ensureConsumer(ctx, client, path, o.consumer); err != nil {
		return err
	}
	var page struct {
		Data []credential `json:"data"`
	}
	if err := client.call(ctx, http.MethodGet, path+"/jwt?size=1000", nil, &page); err != nil {
		return err
	}
	for _, cred := range page.Data {
		if o.fits(cred) {
			o.key, o.secret, o.algorithm = cred.Key, cred.Secret, cred.Algorithm
			return nil
		}
	}
	if o.privateKey != "" {
		return fmt.Errorf("consumer %s has no credential for --private-key: add one with its public key as rsa_public_key", o.consumer)
	}
	var made credential
	wanted := map[string]string{}
	if o.algorithm != "" {
		wanted["algorithm"] = o.algorithm
	}
	if err := client.call(ctx, http.MethodPost, path+"/jwt", wanted, &made); err != nil {
		return err
	}
	o.key, o.secret, o.algorithm = made.Key, made.Secret, made.Algorithm
	return nil
}

func (o *tokenOptions) fits(cred credential) bool {
	return (o.algorithm == "" || o.algorithm == cred.Algorithm) &&
		strings.HasPrefix(cred.Algorithm, "HS") == (o.privateKey == "")
}

// ensureConsumer makes the consumer unless it is there. Another client may make
// it at the same time, so a conflict is as good.
func ensureConsumer(ctx context.Context, client *adminClient, path, username string) error {
	err := client.call(ctx, http.MethodGet, path, nil, nil)
	var answer *adminError
	if !errors.As(err, &answer) || answer.status != http.StatusNotFound {
		return err
	}
	err = client.call(ctx, http.MethodPost, "/consumers", map[string]string{"username": username}, nil)
	if errors.As(err, &answer) && answer.status == http.StatusConflict {
		return nil
	}
	return err
}
