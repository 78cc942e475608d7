apache2 -DFOREGROUND -DForward -DTLS -f {dir}/apache.conf
