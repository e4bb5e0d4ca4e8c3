package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/kubeconfig"
	pki "k8s.io/kubernetes/cmd/kubeadm/app/util/pkiutil"
)

// writePKI creates one CA for serving and client certificates, the service account key, and a certificate and kubeconfig for each
// identity, unless the folder already has them.
func writePKI(c *config) error {
	switch recorded, err := recordedPort(c); {
	case err != nil:
		return err
	case recorded == c.apiPort:
		return nil
	case recorded != 0:
		return fmt.Errorf("made for port %d, and -port is %d: leave -port out, or use another folder", recorded, c.apiPort)
	}
	cert := func(cn string, usage x509.ExtKeyUsage, groups ...string) *pki.CertConfig {
		cfg := &pki.CertConfig{EncryptionAlgorithm: kubeadm.EncryptionAlgorithmECDSAP256}
		cfg.CommonName, cfg.Organization, cfg.Usages = cn, groups, []x509.ExtKeyUsage{usage}
		return cfg
	}
	ca, caKey, err1 := pki.NewCertificateAuthority(cert("testcluster-ca", x509.ExtKeyUsageAny))
	saKey, err2 := pki.GeneratePrivateKey(kubeadm.EncryptionAlgorithmECDSAP256)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := errors.Join(pki.WriteCertAndKey(c.dir, "ca", ca, caKey),
		pki.WriteKey(c.dir, "sa", saKey), pki.WritePublicKey(c.dir, "sa", saKey.Public())); err != nil {
		return err
	}
	serving := cert("kube-apiserver", x509.ExtKeyUsageServerAuth)
	serving.AltNames.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	serving.AltNames.IPs = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}
	for _, id := range []struct {
		name string
		cfg  *pki.CertConfig
	}{ // admin is the last: its kubeconfig marks the folder as complete
		{"apiserver", serving},
		{"controllers", cert("system:kube-controller-manager", x509.ExtKeyUsageClientAuth)},
		{"scheduler", cert("system:kube-scheduler", x509.ExtKeyUsageClientAuth)},
		{"kwok", cert("kwok", x509.ExtKeyUsageClientAuth, "system:masters")},
		{"admin", cert("testcluster-admin", x509.ExtKeyUsageClientAuth, "system:masters")},
	} {
		crt, key, err := pki.NewCertAndKey(ca, caKey, id.cfg)
		if err != nil {
			return err
		}
		keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
		if err != nil {
			return err
		}
		server := fmt.Sprintf("https://127.0.0.1:%d", c.apiPort)
		kc := kubeconfig.CreateWithCerts(server, "testcluster", id.name, pki.EncodeCertPEM(ca), keyPEM, pki.EncodeCertPEM(crt))
		if err := errors.Join(pki.WriteCertAndKey(c.dir, id.name, crt, key),
			kubeconfig.WriteToDisk(c.path(id.name+".kubeconfig"), kc)); err != nil {
			return err
		}
	}
	return nil
}

// recordedPort returns the API server's port from the folder's kubeconfigs, or 0 if there are none.
func recordedPort(c *config) (int, error) {
	kc, err := clientcmd.LoadFromFile(c.path("admin.kubeconfig"))
	if errors.Is(err, fs.ErrNotExist) || os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, cluster := range kc.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(server.Port())
	}
	return 0, fmt.Errorf("%s names no cluster", c.path("admin.kubeconfig"))
}
