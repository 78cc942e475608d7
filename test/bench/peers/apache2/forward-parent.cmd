apache2 -DFOREGROUND -DForward -DParent -f {dir}/apache.conf
